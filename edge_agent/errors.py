"""The agent's own errors: a stable dotted `code`, which also goes into reports and replies."""


class AgentError(Exception):
    """Something that cannot be done now; `code` says what, `detail` is for logs (never a credential)."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class HubRefused(AgentError):
    """The hub answered, and said no: `status` is the HTTP status, `code` the hub's own."""

    def __init__(self, status: int, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.status = status
