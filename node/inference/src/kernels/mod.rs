//! The operators of the neural networks on CPUs: matrix products over views, and loops that the compiler vectorises.
//!
//! Candle's own operators copy a convolution's input into columns and make a pass over memory for every step around it.
//! These layers choose their layouts so that every convolution is a product over a view of its input. They compute the
//! steps around it while a block is in the cache.

pub(crate) mod matrix;
pub(crate) mod op;
pub(crate) mod pointwise;
