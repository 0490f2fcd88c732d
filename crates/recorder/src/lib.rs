//! Recorders: programs run under them leave real Intel PT packets behind.
