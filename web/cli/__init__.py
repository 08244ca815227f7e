"""The ``countersign`` command: a client of the API, and ``countersign up``, the embedded stack."""
