PACKED_STATUS: dict[str, int]
