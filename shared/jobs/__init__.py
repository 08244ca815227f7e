"""The use cases of a job, and the only writers of its state.

``submit`` accepts work, ``lifecycle`` moves a job between its states, ``chunks`` hands out and records comparisons,
``queries`` reads. Each state change is one guarded UPDATE whose row count says whether it happened.
"""
