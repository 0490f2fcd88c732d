//! IA-64: unwind tables, descriptors, register stack and memory stack.
