"""What several tests share: programs, traces, judges, paths."""
