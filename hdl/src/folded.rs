//! The folded core: eight lanes, and one scalar machine for everything else.
//!
//! A row of the array finishes a sum every few cycles, so one multiplier and one
//! shifter, taken in turn, are tail enough for an iCE40UP5K. What the wide core
//! has as units is here a [microprogram](assembler), `folded/microcode.s`, which
//! reads as `docs/arithmetic.md` does. The core has the register map and runs the
//! images of every other core; sinks and Hadamard's rotation are left out.
//!
//! The [`Machine`] fetches instructions, computes addresses and holds the
//! accumulator; its operands come from the [`Store`], products and shifts from
//! the [`Scaler`], sums from the [`Array`]. What is done to every element of a
//! vector, a product and a rounding shift, the [`Tail`] does on the way from the
//! array, or from a vector, to the machine. The [`Bus`] writes and reads the same
//! register memory as the microprogram.

pub mod array;
pub mod assembler;
pub mod bus;
pub mod checksum;
pub mod layout;
pub mod mac16;
pub mod machine;
pub mod mode;
pub mod scaler;
pub mod store;
pub mod tail;

use annulus_contract::shape::CoreShape;
use array::Array;
use bus::Bus;
use checksum::Checksum;
use machine::Machine;
use rust_hdl_core::prelude::*;
use scaler::Scaler;
use store::Store;
use tail::Tail;

/// A core of one row. Its ports are those of [`crate::core::Core`].
#[derive(LogicBlock, Default)]
pub struct FoldedCore {
    /// Everything runs on its rising edge.
    pub clock: Signal<In, Clock>,
    /// Strobe: write `data` to register `address`.
    pub write: Signal<In, Bit>,
    /// Strobe: read register `address`.
    pub read: Signal<In, Bit>,
    /// Register.
    pub address: Signal<In, Bits<8>>,
    /// What to write.
    pub data: Signal<In, Bits<32>>,
    /// What was read, with `ready`.
    pub q: Signal<Out, Bits<32>>,
    /// Answers each strobe.
    pub ready: Signal<Out, Bit>,
    /// A token is in the core.
    pub busy: Signal<Out, Bit>,
    /// A chosen token waits.
    pub chosen: Signal<Out, Bit>,
    bus: Bus,
    machine: Machine,
    store: Store,
    scaler: Scaler,
    array: Array,
    tail: Tail,
    checksum: Checksum,
}

impl FoldedCore {
    /// A core with the memories that `shape` asks for; it has one row.
    pub fn new(shape: &CoreShape) -> Self {
        assert!(shape.rows == 1);
        let mut core = Self::default();
        core.bus._shape = Some(*shape);
        core.machine._shape = Some(*shape);
        core.store._shape = Some(*shape);
        core.tail._shape = Some(*shape);
        core.array = Array::new(shape);
        core
    }
}

impl Logic for FoldedCore {
    #[hdl_gen]
    fn update(&mut self) {
        self.bus.clock.next = self.clock.val();
        self.machine.clock.next = self.clock.val();
        self.store.clock.next = self.clock.val();
        self.scaler.clock.next = self.clock.val();
        self.array.clock.next = self.clock.val();
        self.checksum.clock.next = self.clock.val();
        self.machine.reset.next = self.bus.reset.val();
        self.store.reset.next = self.bus.reset.val();
        self.scaler.reset.next = self.bus.reset.val();
        self.array.reset.next = self.bus.reset.val();
        self.tail.clock.next = self.clock.val();
        self.tail.reset.next = self.bus.reset.val();

        // bus
        self.bus.write.next = self.write.val();
        self.bus.read.next = self.read.val();
        self.bus.address.next = self.address.val();
        self.bus.data.next = self.data.val();
        self.q.next = self.bus.q.val();
        self.ready.next = self.bus.ready.val();
        self.busy.next = self.machine.busy.val();
        self.chosen.next = self.bus.output_any.val();
        self.bus.found.next = self.store.operand.val();
        self.bus.pop.next = self.machine.pop.val();
        self.bus.push.next = self.machine.push.val();
        self.bus.woken.next = self.machine.woken.val();
        self.bus.crc.next = self.checksum.crc.val();
        self.bus.busy.next = self.machine.busy.val();
        self.bus.processing.next = self.machine.processing.val();
        self.bus.stop.next = self.machine.stop.val();
        self.bus.illegal.next = self.machine.illegal.val() | self.tail.illegal.val();
        self.bus.accepted.next = self.machine.bus_accepted.val();
        self.bus.bad_step.next = self.machine.bad_step.val();

        // machine
        self.machine.reading.next = self.bus.reading.val();
        self.machine.link_space.next = self.bus.space.val();
        self.machine.link_register.next = self.bus.register.val();
        self.machine.link_read_at.next = self.bus.read_at.val();
        self.machine.operand.next = self.store.operand.val();
        self.machine.bus_write.next = self.bus.write_register.val();
        self.machine.bus_write_at.next = self.bus.write_at.val();
        self.machine.bus_data.next = self.bus.link_data.val();
        self.machine.shifting.next = self.scaler.waiting.val();
        self.machine.shifted.next = self.scaler.done.val();
        self.machine.result_valid.next = self.tail.valid.val();
        self.machine.result.next = self.scaler.result.val();
        self.machine.sum_valid.next = self.array.valid.val();
        self.machine.input_any.next = self.bus.input_any.val();
        self.machine.output_full.next = self.bus.output_full.val();
        self.machine.input_at.next = self.bus.input_at.val();
        self.machine.output_at.next = self.bus.output_at.val();
        self.machine.stopped.next = self.bus.stopped.val();
        self.machine.awake.next = self.bus.awake.val();
        self.machine.crc_busy.next = self.checksum.busy.val();

        // store
        self.store.clear_counters.next = self.bus.clear_counters.val();
        self.store.register_at.next = self.machine.register_at.val();
        self.store.at.next = self.machine.at.val();
        self.store.step_at.next = self.machine.step_at.val();
        self.store.space.next = self.machine.space.val();
        self.store.source.next = self.machine.source.val();
        self.store.invert.next = self.machine.invert.val();
        self.store.state.next = self.machine.state.val();
        self.store.sum.next = self.array.sum.val();
        self.store.magnitudes.next = self.machine.magnitudes.val();
        self.store.cycles.next = self.machine.cycles.val();
        self.store.wide.next = self.array.link_found.val();
        self.store.restart.next = self.machine.restart.val();
        self.store.phases_moved.next = self.machine.phases_moved.val();
        self.store.link_writes.next = self.machine.bus_accepted.val();
        self.store.write_register.next = self.machine.write_register.val();
        self.store.write_register_at.next = self.machine.write_register_at.val();
        self.store.register_data.next = self.machine.register_data.val();
        self.store.write_vector.next = self.machine.write_vector.val();
        self.store.write_key_scale.next = self.machine.write_key_scale.val();
        self.store.write_logit.next = self.machine.write_logit.val();
        self.store.write_at.next = self.machine.write_at.val();
        self.store.data.next = self.machine.a.val();
        self.store.narrow.next = self.machine.narrow.val();
        self.store.narrow_at.next = self.machine.narrow_at.val();
        self.store.reading.next = self.bus.reading.val();
        self.store.points.next = self.machine.points.val();
        self.store.result.next = self.tail.result.val();
        self.store.scale_at.next = self.tail.scale_at.val();
        self.store.vector_at.next = self.tail.vector_at.val();
        self.store.link_gains.next = self.bus.write_gains.val();
        self.store.link_key_scales.next = self.bus.write_key_scales.val();
        self.store.link_steps.next = self.bus.write_steps.val();
        self.store.link_scales.next = self.bus.write_scales.val();
        self.store.link_at.next = self.bus.link_at.val();
        self.store.link_lane.next = self.bus.link_lane.val();
        self.store.link_data.next = self.bus.link_data.val();

        // scaler
        self.scaler.multiply.next = self.machine.multiply.val();
        self.scaler.add.next = self.machine.add.val();
        self.scaler.x.next = self.machine.a.val();
        self.scaler.y.next = self.store.operand.val().get_bits::<17>(0);
        self.scaler.shift.next = self.machine.shift.val();
        self.scaler.round.next = self.machine.round.val();
        self.scaler.n.next = self.machine.n.val();

        // array
        self.array.set_from.next = self.machine.set_from.val();
        self.array.set_with.next = self.machine.set_with.val();
        self.array.set_words.next = self.machine.set_words.val();
        self.array.set_skip.next = self.machine.set_skip.val();
        self.array.go.next = self.machine.go.val();
        self.array.data.next = self.machine.a.val();
        self.array.narrow.next = self.machine.narrow.val().get_bits::<8>(0);
        self.array.take.next = self.machine.take.val();
        self.array.tail_take.next = self.tail.take_sum.val();
        self.array.write_mantissa.next = self.machine.write_mantissa.val();
        self.array.mantissa_at.next = self.machine.narrow_at.val();
        self.array.write_byte.next = self.machine.write_byte.val();
        self.array.byte_at.next = self.machine.byte_at.val();
        self.array.nibbles.next = self.store.nibbles.val();
        self.array.processing.next = self.machine.processing.val();
        self.array.link_write.next = self.bus.write_wide.val();
        self.array.link_at.next = self.bus.link_at.val();
        self.array.link_lane.next = self.bus.link_lane.val();
        self.array.link_data.next = self.bus.link_data.val();

        // tail
        self.tail.go.next = self.machine.go.val();
        self.tail.set_factor.next = self.machine.set_factor.val();
        self.tail.set_bias.next = self.machine.set_bias.val();
        self.tail.set_scales.next = self.machine.set_scales.val();
        self.tail.set_source.next = self.machine.set_source.val();
        self.tail.data.next = self.machine.a.val();
        self.tail.reading.next = self.bus.reading.val();
        self.tail.points.next = self.machine.points.val();
        self.tail.sum.next = self.array.sum.val();
        self.tail.sum_valid.next = self.array.valid.val();
        self.tail.row_scale.next = self.store.row_scale_byte.val();
        self.tail.key_scale.next = self.store.key_scale.val();
        self.tail.element.next = self.store.element.val();
        self.tail.take.next = self.machine.take_result.val();

        // checksum
        self.checksum.clear.next = self.bus.clear_crc.val();
        self.checksum.valid.next = self.machine.crc.val();
        self.checksum.data.next = self.machine.a.val().get_bits::<24>(0);
    }
}
