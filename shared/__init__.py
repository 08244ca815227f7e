"""What both sides know: settings, specifications, tables, storage, the queue and the use cases of a job."""
