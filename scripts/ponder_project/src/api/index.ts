// How many loans and payments were found, for whoever measures.

import { db } from "ponder:api";
import { loan } from "ponder:schema";
import { Hono } from "hono";
import { count, sum } from "ponder";

const app = new Hono();

app.get("/found", async (context) => {
  const [found] = await db.select({ loans: count(), payments: sum(loan.payments) }).from(loan);
  return context.json(found);
});

export default app;
