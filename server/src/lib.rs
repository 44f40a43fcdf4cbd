//! memring server
