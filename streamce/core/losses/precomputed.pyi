WHAT: dict[str, int]
