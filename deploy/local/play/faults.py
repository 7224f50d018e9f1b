"""How the story ends badly: which step, why, and whose log to read."""

from deploy.local.faults import LocalFault


class StepFailed(LocalFault):
    """A step of the story did not come true; `service` is the one whose log says more, where that is known."""

    def __init__(self, step: str, why: str, service: str | None = None) -> None:
        super().__init__(why)
        self.step = step
        self.why = why
        self.service = service
