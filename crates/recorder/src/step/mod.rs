//! Recording by single steps: nothing has to be installed, and everything is slow.
