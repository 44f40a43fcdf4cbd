//! What memring's whole-cluster tests share: the simulator, real clusters, and the checkers of both.

pub mod check;
pub mod real;
pub mod sim;
