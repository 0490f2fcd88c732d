"""Reading recordings: what a file holds (`RecordingFile`), memory over time, and the decoded `Recording`."""
