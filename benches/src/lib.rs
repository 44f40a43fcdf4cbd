//! memring benches
