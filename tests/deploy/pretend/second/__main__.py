"""Does all that is asked."""

from pretend.service import main

main()
