"""What can go wrong on one machine, each said in one readable line.

LocalFault
├── Missing       something this machine needs is not there (network, Docker, a package, a service module)
├── NotStarted    a process was started and did not become ready
└── NotOurs       the server was given by the environment, so it is not ours to stop, kill or freeze
"""


class LocalFault(Exception):
    """The command line prints it as one line and exits 1; it never becomes a traceback."""


class Missing(LocalFault):
    pass


class NotStarted(LocalFault):
    pass


class NotOurs(LocalFault):
    pass
