//! How a block of the core is written down.
//!
//! rust-hdl gives the structure: hierarchy, ports with their widths, one driver
//! a signal, no port left open. What a leaf block does inside stands as explicit
//! Verilog, because rust-hdl's own expressions have no signed shift, widen by
//! context, and differ between its simulator and its output; Verilator is the
//! judge of every block (`docs/decisions.md`).

/// Declares a leaf block: a struct of ports whose behavior is Verilog text.
///
/// ```
/// use annulus_hdl::leaf;
/// use rust_hdl_core::prelude::*;
///
/// leaf! {
///     /// `y = a + b`, one cycle later.
///     pub struct Add {
///         in clock: Clock,
///         in a: Bits<8>,
///         in b: Bits<8>,
///         out y: Bits<9>,
///     }
///     verilog(_this) { "always @(posedge clock) y <= a + b;".into() }
/// }
/// assert!(annulus_hdl::verilog(Add::default()).contains("y <= a + b"));
/// ```
///
/// A child block stands as `cell name: Type`; the text reaches its ports as
/// `name$port` (rust-hdl instantiates it and declares those wires).
///
/// Widths of ports are const generics. Other parameters that shape the text are
/// fields declared as `param _name: type`; the underscore is what keeps them out
/// of rust-hdl's list of ports.
#[macro_export]
macro_rules! leaf {
    (
        $(#[$doc:meta])*
        pub struct $name:ident $(<$(const $gen:ident: usize),+>)? {
            $($(#[$idoc:meta])* $dir:ident $port:ident: $ty:ty,)*
        }
        verilog($this:ident) $body:block
    ) => {
        $crate::leaf! { @build
            [$(#[$doc])*] $name [$($(const $gen: usize),+)?] [$($($gen),+)?]
            [] [] $this $body
            $($(#[$idoc])* $dir $port: $ty,)*
        }
    };
    (@build [$($doc:tt)*] $name:ident [$($gens:tt)*] [$($args:tt)*] [$($fields:tt)*] [$($outs:ident)*] $this:ident $body:block
        $(#[$idoc:meta])* in $port:ident: $ty:ty, $($rest:tt)*) => {
        $crate::leaf! { @build [$($doc)*] $name [$($gens)*] [$($args)*]
            [$($fields)* $(#[$idoc])* #[allow(missing_docs)] pub $port: Signal<In, $ty>,] [$($outs)*] $this $body $($rest)* }
    };
    (@build [$($doc:tt)*] $name:ident [$($gens:tt)*] [$($args:tt)*] [$($fields:tt)*] [$($outs:ident)*] $this:ident $body:block
        $(#[$idoc:meta])* out $port:ident: $ty:ty, $($rest:tt)*) => {
        $crate::leaf! { @build [$($doc)*] $name [$($gens)*] [$($args)*]
            [$($fields)* $(#[$idoc])* #[allow(missing_docs)] pub $port: Signal<Out, $ty>,] [$($outs)* $port] $this $body $($rest)* }
    };
    (@build [$($doc:tt)*] $name:ident [$($gens:tt)*] [$($args:tt)*] [$($fields:tt)*] [$($outs:ident)*] $this:ident $body:block
        $(#[$idoc:meta])* param $port:ident: $ty:ty, $($rest:tt)*) => {
        $crate::leaf! { @build [$($doc)*] $name [$($gens)*] [$($args)*]
            [$($fields)* $(#[$idoc])* #[allow(missing_docs)] pub $port: $ty,] [$($outs)*] $this $body $($rest)* }
    };
    (@build [$($doc:tt)*] $name:ident [$($gens:tt)*] [$($args:tt)*] [$($fields:tt)*] [$($outs:ident)*] $this:ident $body:block
        $(#[$idoc:meta])* cell $port:ident: $ty:ty, $($rest:tt)*) => {
        $crate::leaf! { @build [$($doc)*] $name [$($gens)*] [$($args)*]
            [$($fields)* $(#[$idoc])* $port: $ty,] [$($outs)*] $this $body $($rest)* }
    };
    (@build [$($doc:tt)*] $name:ident [$($gens:tt)*] [$($args:tt)*] [$($fields:tt)*] [$($outs:ident)*] $this:ident $body:block) => {
        $($doc)*
        #[derive(LogicBlock, Default)]
        pub struct $name<$($gens)*> { $($fields)* }
        impl<$($gens)*> Logic for $name<$($args)*> {
            fn update(&mut self) {}
            fn connect(&mut self) { $(self.$outs.connect();)* }
            fn hdl(&self) -> Verilog {
                let $this = self;
                Verilog::Custom($body)
            }
        }
    };
}
