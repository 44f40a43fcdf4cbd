//! memring engine
