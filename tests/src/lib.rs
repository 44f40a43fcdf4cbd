//! What memring's whole-cluster tests share: the simulator and its checkers.

pub mod sim;
