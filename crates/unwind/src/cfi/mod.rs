//! x86-64 and AArch64: DWARF's call frame information, frame pointers, and what lies between them.
