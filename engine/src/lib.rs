//! memring engine

pub mod now;
