"""What the program does: deploy, index, plan, serve, deliver, audit."""
