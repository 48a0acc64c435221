//! EROFS: images of `mkfs.erofs` and of our builder are read back byte for byte; damaged ones are refused or read
//! wrongly, but never end in a panic or a loop.

mod built;
mod costs;
mod holes;
mod hostile;
mod made;
mod paths;
mod tools;
mod tree;
