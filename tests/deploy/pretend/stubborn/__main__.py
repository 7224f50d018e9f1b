"""Does not end when it is asked to."""

import signal

from pretend.service import main

signal.signal(signal.SIGTERM, signal.SIG_IGN)
main()
