"""A delivery worker that dies in the midst of its work: `worker.py before|after NUMBER`.

Killed as by a power cut, before or after it hands its NUMBERth message to the mail server.
"""

import os
import signal
import sys
from collections.abc import Sequence

from duly.bootstrap import Application
from duly.channels.email import EmailCarrier
from duly.channels.message import CodeMessage, Message, Receipt
from duly.config import Settings


class Dying(EmailCarrier):
    """Sends e-mail, until it takes the process with it."""

    left = int(sys.argv[2])

    def send_all(self, messages: Sequence[Message | CodeMessage]) -> list[Receipt]:
        assert len(messages) == 1
        self.left -= 1
        if not self.left and sys.argv[1] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        receipts = super().send_all(messages)
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return receipts


settings = Settings.from_environment()
app = Application(settings)
assert settings.mail is not None
app.carriers = {Dying.channel: Dying(settings.mail)}
app.indexer.run()
app.deliverer.deliver()
