"""Celery workers: the only place where torch lives."""
