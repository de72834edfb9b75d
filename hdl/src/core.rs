//! The core: the units and how they are connected.
//!
//! Follow a token: the [`Conductor`] chooses it, the [`Sequencer`] runs the
//! list of steps, the [`Scan`] streams each step's words out of the
//! [`WideMemory`], the [`DotArray`] multiplies them by the [`Operand`], the
//! [`Drain`] and the [`Tail`] make results of the sums, and each result goes
//! where its step's kind says: [`Residual`], [`Hidden`], [`Heads`] (and from
//! there to the query buffer or the [`Rings`]), [`Sampler`]; scores leave the
//! array to [`Scores`]. Delays are named after the cycle, counted from the scan,
//! in which a tag arrives ([`super::units::timing`]).

use crate::units::array::DotArray;
use crate::units::conductor::Conductor;
use crate::units::drain::Drain;
use crate::units::elements::Elements;
use crate::units::heads::Heads;
use crate::units::hidden::Hidden;
use crate::units::memory::{reading, Delay, QueryBuffer, Ram, WideMemory};
use crate::units::mixer::Mixer;
use crate::units::operand::Operand;
use crate::units::registers::Registers;
use crate::units::residual::Residual;
use crate::units::rings::Rings;
use crate::units::rope::RopePhase;
use crate::units::sampler::Sampler;
use crate::units::scan::Scan;
use crate::units::scores::Scores;
use crate::units::sequencer::Sequencer;
use crate::units::tag::{PAIR_TAG_BITS, WORD_TAG_BITS};
use crate::units::tail::Tail;
use annulus_contract::regs::feature;
use annulus_contract::shape::CoreShape;
use annulus_contract::step::COLUMNS;
use rust_hdl_core::prelude::*;

/// A core with `P` rows: `P16 = 16 P`, `SUMS = 32 P`, and `WORD = 64 P`, `BYTES = 8 P`, each
/// with one row more in a core for 4-bit values: their exponents.
///
/// Its only face is the register bus of [`Registers`].
#[derive(LogicBlock, Default)]
pub struct Core<
    const P: usize,
    const P16: usize,
    const SUMS: usize,
    const WORD: usize,
    const BYTES: usize,
> {
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
    registers: Registers,
    conductor: Conductor,
    sequencer: Sequencer,
    scan: Scan,
    memory: WideMemory<WORD, BYTES>,
    operand: Operand,
    array: DotArray<WORD, SUMS>,
    drain: Drain,
    elements: Elements<WORD>,
    scales: Ram<16>,
    gains: Ram<32>,
    tail: Tail,
    residual: Residual,
    hidden: Hidden,
    rope: RopePhase,
    heads: Heads,
    queries: QueryBuffer,
    rings: Rings<WORD, BYTES>,
    scores: Scores<SUMS, P, P16>,
    mixer: Mixer,
    sampler: Sampler,
    word_1: Delay<WORD_TAG_BITS, 1>,
    word_3: Delay<WORD_TAG_BITS, 2>,
    word_5: Delay<WORD_TAG_BITS, 2>,
    word_6: Delay<WORD_TAG_BITS, 1>,
    word_7: Delay<WORD_TAG_BITS, 1>,
    word_8: Delay<WORD_TAG_BITS, 1>,
    pair_14: Delay<PAIR_TAG_BITS, 7>,
    pair_15: Delay<PAIR_TAG_BITS, 1>,
    pair_16: Delay<PAIR_TAG_BITS, 1>,
}

impl<
        const P: usize,
        const P16: usize,
        const SUMS: usize,
        const WORD: usize,
        const BYTES: usize,
    > Core<P, P16, SUMS, WORD, BYTES>
{
    /// A core with the memories that `shape` asks for.
    pub fn new(shape: &CoreShape) -> Self {
        let nibbles = shape.has(feature::NIBBLES);
        assert!(nibbles == shape.has(feature::NARROW_VALUES), "one option");
        assert!(
            P == shape.rows as usize
                && P16 == 16 * P
                && SUMS == 32 * P
                && WORD == 64 * (P + usize::from(nibbles))
                && BYTES == WORD / 8
        );
        let mut core = Self {
            array: DotArray::new(),
            operand: Operand::new(),
            scores: Scores::new(),
            ..Self::default()
        };
        let vector_words = |elements: u32| elements as usize / COLUMNS;
        core.registers._shape = Some(*shape);
        core.conductor._rows = P;
        core.scan._rows = P;
        core.sequencer._steps = shape.steps as usize;
        core.memory._words = shape.memory as usize;
        assert!(!nibbles || shape.memory <= 1 << reading::ADDRESS_BITS);
        core.memory._nibbles = nibbles;
        core.memory._exponents = shape.exponents() as usize;
        core.scan._nibbles = nibbles;
        core.rings._nibbles = nibbles;
        core.scales._words = shape.scales as usize;
        core.gains._words = shape.residual as usize / 2;
        core.residual._words = vector_words(shape.residual);
        core.hidden._words = vector_words(shape.hidden);
        core.queries._words = vector_words(shape.residual);
        core.heads._largest = shape.max_head as usize;
        core.scores._key_entries = shape.key_scales as usize;
        core.scores._words = shape.score_words as usize;
        core.scores._heads = vector_words(shape.residual).min(256);
        core.sampler._vocab = shape.vocab as usize;
        core
    }
}

impl<
        const P: usize,
        const P16: usize,
        const SUMS: usize,
        const WORD: usize,
        const BYTES: usize,
    > Logic for Core<P, P16, SUMS, WORD, BYTES>
{
    #[hdl_gen]
    fn update(&mut self) {
        self.registers.clock.next = self.clock.val();
        self.conductor.clock.next = self.clock.val();
        self.sequencer.clock.next = self.clock.val();
        self.scan.clock.next = self.clock.val();
        self.memory.clock.next = self.clock.val();
        self.operand.clock.next = self.clock.val();
        self.array.clock.next = self.clock.val();
        self.drain.clock.next = self.clock.val();
        self.elements.clock.next = self.clock.val();
        self.scales.clock.next = self.clock.val();
        self.gains.clock.next = self.clock.val();
        self.tail.clock.next = self.clock.val();
        self.residual.clock.next = self.clock.val();
        self.hidden.clock.next = self.clock.val();
        self.rope.clock.next = self.clock.val();
        self.heads.clock.next = self.clock.val();
        self.queries.clock.next = self.clock.val();
        self.rings.clock.next = self.clock.val();
        self.scores.clock.next = self.clock.val();
        self.mixer.clock.next = self.clock.val();
        self.sampler.clock.next = self.clock.val();
        self.word_1.clock.next = self.clock.val();
        self.word_3.clock.next = self.clock.val();
        self.word_5.clock.next = self.clock.val();
        self.word_6.clock.next = self.clock.val();
        self.word_7.clock.next = self.clock.val();
        self.word_8.clock.next = self.clock.val();
        self.pair_14.clock.next = self.clock.val();
        self.pair_15.clock.next = self.clock.val();
        self.pair_16.clock.next = self.clock.val();

        // bus
        self.registers.write.next = self.write.val();
        self.registers.read.next = self.read.val();
        self.registers.address.next = self.address.val();
        self.registers.data.next = self.data.val();
        self.q.next = self.registers.q.val();
        self.ready.next = self.registers.ready.val();
        self.busy.next = self.conductor.busy.val();
        self.chosen.next = self.conductor.output_any.val();

        // conductor
        self.conductor.reset.next = self.registers.reset.val();
        self.conductor.write.next = self.write.val();
        self.conductor.take_output.next = self.registers.take_output.val();
        self.conductor.address.next = self.address.val();
        self.conductor.data.next = self.data.val();
        self.conductor.choice.next = self.sampler.choice.val();
        self.conductor.done.next = self.sequencer.done.val();
        self.conductor.clear_counters.next = self.registers.clear_counters.val();
        self.conductor.stop.next = self.registers.stop.val();
        self.conductor.restart_token.next = self.registers.restart_token.val();
        self.conductor.position_mask.next = self.registers.position_mask.val();
        self.conductor.key_groups.next = self.registers.key_groups.val();
        self.conductor.key_sink_groups.next = self.registers.key_sink_groups.val();
        self.conductor.key_last.next = self.registers.key_last.val();
        self.conductor.key_sink_last.next = self.registers.key_sink_last.val();
        self.conductor.value_sink_groups.next = self.registers.value_sink_groups.val();

        // registers read
        self.registers.q_wide.next = self.memory.lane_q.val();
        self.registers.q_scales.next = self.scales.q.val();
        self.registers.q_steps.next = self.sequencer.found.val();
        self.registers.q_gains.next = self.gains.q.val();
        self.registers.q_increment.next = self.rope.link_increment.val();
        self.registers.q_phase.next = self.rope.link_phase.val();
        self.registers.q_far.next = self.rope.link_far.val();
        self.registers.q_key_scales.next = self.scores.link_q.val();
        self.registers.q_logits.next = self.sampler.link_q.val();
        self.registers.q_residual.next = self.residual.word.val();
        self.registers.busy.next = self.conductor.busy.val();
        self.registers.stopped.next = self.conductor.stopped.val();
        self.registers.input_full.next = self.conductor.input_full.val();
        self.registers.output_any.next = self.conductor.output_any.val();
        self.registers.output_token.next = self.conductor.output_token.val();
        self.registers.budget.next = self.conductor.budget.val();
        self.registers.samples.next = self.conductor.samples.val();
        self.registers.position.next = self.conductor.position.val();
        self.registers.full.next = self.conductor.full.val();
        self.registers.key_group.next = self.conductor.key_group.val();
        self.registers.key_row.next = self.conductor.key_row.val();
        self.registers.value_group.next = self.conductor.value_group.val();
        self.registers.value_column.next = self.conductor.value_column.val();
        self.registers.tokens.next = self.conductor.tokens.val();
        self.registers.crc.next = self.sampler.crc.val();
        self.registers.choice.next = self.sampler.choice.val();
        self.registers.word.next = self.scan.tag.val().get_bit(0);
        self.registers.kind.next = self.sequencer.kind.val();
        self.registers.illegal.next = self.tail.illegal.val() | self.scores.illegal.val();
        self.registers.bad_step.next = self.sequencer.bad_step.val();
        self.registers.overflow.next = self.conductor.overflow.val();

        // sequencer
        self.sequencer.reset.next = self.registers.reset.val();
        self.sequencer.start.next = self.conductor.start.val();
        self.sequencer.far.next = self.conductor.far.val();
        self.sequencer.prefill.next = self.conductor.prefill.val();
        self.sequencer.scan_ready.next = self.scan.ready.val();
        self.sequencer.retire_residual.next = self.residual.retire.val();
        self.sequencer.retire_hidden.next = self.hidden.retire.val();
        self.sequencer.retire_heads.next = self.heads.retire.val();
        self.sequencer.retire_values.next = self.rings.retire_value.val();
        self.sequencer.retire_scores.next = self.scores.retire.val();
        self.sequencer.retire_logits.next = self.sampler.retire.val();
        self.sequencer.head_done.next = self.heads.done.val();
        self.sequencer.score_done.next = self.scores.done.val();
        self.sequencer.write.next = self.registers.write_steps.val();
        self.sequencer.write_at.next = self.registers.link_at.val().get_bits::<16>(0);
        self.sequencer.data.next = self.registers.link_data.val();
        self.sequencer.read_at.next = self.registers.link_at.val().get_bits::<16>(0);
        self.sequencer.idle.next = !self.conductor.busy.val();

        // scan
        self.scan.reset.next = self.registers.reset.val();
        self.scan.go.next = self.sequencer.go.val();
        self.scan.step_in.next = self.sequencer.step.val();
        self.scan.token.next = self.conductor.token.val();
        self.scan.position_row.next = self.conductor.position_row.val();
        self.scan.far.next = self.conductor.far.val();
        self.scan.full.next = self.conductor.full.val();
        self.scan.head_size.next = self.registers.head_size.val();
        self.scan.key_groups.next = self.registers.key_groups.val();
        self.scan.key_sink_groups.next = self.registers.key_sink_groups.val();
        self.scan.key_last.next = self.registers.key_last.val();
        self.scan.key_sink_last.next = self.registers.key_sink_last.val();
        self.scan.key_group.next = self.conductor.key_group.val();
        self.scan.key_row.next = self.conductor.key_row.val();
        self.scan.value_groups.next = self.registers.value_groups.val();
        self.scan.value_sink_groups.next = self.registers.value_sink_groups.val();
        self.scan.value_last.next = self.registers.value_last.val();
        self.scan.value_sink_last.next = self.registers.value_sink_last.val();
        self.scan.value_group.next = self.conductor.value_group.val();
        self.scan.value_column.next = self.conductor.value_column.val();

        // tags
        self.word_1.d.next = self.scan.tag.val();
        self.word_3.d.next = self.word_1.q.val();
        self.word_5.d.next = self.word_3.q.val();
        self.word_6.d.next = self.word_5.q.val();
        self.word_7.d.next = self.word_6.q.val();
        self.word_8.d.next = self.word_7.q.val();
        self.pair_14.d.next = self.drain.pair_tag.val();
        self.pair_15.d.next = self.pair_14.q.val();
        self.pair_16.d.next = self.pair_15.q.val();

        // memory
        self.memory.write_at.next = self.rings.write_at.val();
        self.memory.write.next = self.rings.write.val();
        self.memory.data.next = self.rings.data.val();
        self.memory.lane.next = self.registers.link_lane.val();
        if self.conductor.busy.val() {
            self.memory.read_at.next = self.scan.read_at.val();
        } else {
            self.memory.read_at.next = self.registers.link_at.val();
        }

        // operand
        self.operand.tag_1.next = self.word_1.q.val();
        self.operand.tag_3.next = self.word_3.q.val();
        self.operand.residual.next = self.residual.word.val();
        self.operand.residual_e.next = self.residual.e.val();
        self.operand.hidden.next = self.hidden.word.val();
        self.operand.hidden_e.next = self.hidden.e.val();
        self.operand.query.next = self.queries.q.val();
        self.operand.scores.next = self.scores.word.val();
        self.operand.score_max.next = self.scores.max.val();
        self.array.word.next = self.memory.word.val();
        self.array.x.next = self.operand.x.val();
        self.array.tag.next = self.word_8.q.val();

        // drain, tail
        self.drain.reset.next = self.registers.reset.val();
        self.drain.tag_5.next = self.word_5.q.val();
        self.drain.tag.next = self.word_6.q.val();
        self.scales.write_at.next = self.registers.link_at.val().get_bits::<16>(0);
        self.scales.write.next = self.registers.write_scales.val();
        self.scales.data.next = self.registers.link_data.val().get_bits::<16>(0);
        if self.conductor.busy.val() {
            self.scales.read_at.next = self.drain.scale_at.val();
        } else {
            self.scales.read_at.next = self.registers.link_at.val().get_bits::<16>(0);
        }
        self.elements.tag_3.next = self.word_3.q.val();
        self.elements.tag_7.next = self.word_7.q.val();
        self.elements.word.next = self.memory.word.val();
        self.elements.residual.next = self.residual.word.val();
        self.gains.write_at.next = self.registers.link_at.val().get_bits::<16>(0);
        self.gains.write.next = self.registers.write_gains.val();
        self.gains.data.next = self.registers.link_data.val();
        if self.conductor.busy.val() {
            self.gains.read_at.next = self.tail.gain_at.val();
        } else {
            self.gains.read_at.next = self.registers.link_at.val().get_bits::<16>(0);
        }
        self.tail.pair_tag.next = self.drain.pair_tag.val();
        self.tail.shift.next = self.drain.shift.val();
        self.tail.normed.next = self.drain.normed.val();
        self.tail.gains.next = self.drain.gains.val();
        self.tail.odd_row.next = self.drain.odd_row.val();
        self.tail.scales.next = self.scales.q.val();
        self.tail.sums.next = self.array.pair.val();
        self.tail.elements.next = self.elements.pair.val();
        self.tail.gain_pair.next = self.gains.q.val();
        self.tail.root.next = self.residual.root.val();
        self.tail.root_shift.next = self.residual.root_shift.val();
        self.tail.residual_e.next = self.residual.e.val();
        self.tail.hidden_e.next = self.hidden.e.val();
        self.tail.reciprocal.next = self.mixer.reciprocal.val();
        self.tail.reciprocal_shift.next = self.mixer.reciprocal_shift.val();

        // vectors
        self.residual.pair_tag.next = self.pair_14.q.val();
        self.residual.y0.next = self.tail.y0.val();
        self.residual.y1.next = self.tail.y1.val();
        self.residual.eps.next = self.registers.eps.val();
        self.residual.embedding_eps.next = self.registers.embedding_eps.val();
        if self.conductor.busy.val() {
            self.residual.read_at.next = self.scan.operand_at.val();
        } else {
            self.residual.read_at.next = self.registers.link_at.val().get_bits::<11>(2);
        }
        self.hidden.go.next = self.scan.began.val();
        self.hidden.step.next = self.scan.step.val();
        self.hidden.pair_tag.next = self.pair_15.q.val();
        self.hidden.y0.next = self.tail.y0.val();
        self.hidden.y1.next = self.tail.y1.val();
        self.hidden.read_at.next = self.scan.operand_at.val();

        // rope, heads
        self.rope.reset.next = self.registers.reset.val();
        self.rope.start.next = self.conductor.start.val();
        self.rope.restart.next = self.conductor.restart.val();
        self.rope.pairs.next = self.registers.head_pairs.val();
        self.rope.rotary.next = self.registers.rotary.val();
        self.rope.read_at.next = self.heads.angle_at.val();
        self.rope.read_far.next = self.heads.angle_far.val();
        self.rope.write_increment.next = self.registers.write_increment.val();
        self.rope.write_phase.next = self.registers.write_phase.val();
        self.rope.write_far.next = self.registers.write_far.val();
        self.rope.write_at.next = self.registers.link_at.val().get_bits::<5>(0);
        self.rope.data.next = self.registers.link_data.val();
        self.rope.link_at.next = self.registers.link_at.val().get_bits::<5>(0);
        self.heads.reset.next = self.registers.reset.val();
        self.heads.pair_tag.next = self.pair_14.q.val();
        self.heads.y0.next = self.tail.y0.val();
        self.heads.y1.next = self.tail.y1.val();
        self.heads.head_size.next = self.registers.head_size.val();
        self.heads.hadamard.next = self.registers.hadamard.val();
        self.heads.sin.next = self.rope.sin.val();
        self.heads.cos.next = self.rope.cos.val();
        self.queries.write.next = self.heads.valid.val();
        self.queries.key.next = self.heads.key.val();
        self.queries.far.next = self.heads.far.val();
        self.queries.head.next = self.heads.head.val();
        self.queries.word.next = self.heads.word.val();
        self.queries.m.next = self.heads.m.val();
        self.queries.read_at.next = self.scan.operand_at.val();

        // rings
        self.rings.go.next = self.scan.began.val();
        self.rings.step.next = self.scan.step.val();
        self.rings.head_size.next = self.registers.head_size.val();
        self.rings.key_groups.next = self.registers.key_groups.val();
        self.rings.key_group.next = self.conductor.key_group.val();
        self.rings.key_row.next = self.conductor.key_row.val();
        self.rings.value_group.next = self.conductor.value_group.val();
        self.rings.value_column.next = self.conductor.value_column.val();
        self.rings.pair_tag.next = self.pair_16.q.val();
        self.rings.y0.next = self.tail.y0.val();
        self.rings.y1.next = self.tail.y1.val();
        self.rings.key_valid.next = self.heads.key_valid.val();
        self.rings.key_m.next = self.heads.m.val();
        self.rings.key_word.next = self.heads.word.val();
        self.rings.key_last.next = self.heads.last.val();
        self.rings.link_write.next = self.registers.write_wide.val();
        self.rings.link_at.next = self.registers.link_at.val();
        self.rings.link_lane.next = self.registers.link_lane.val();
        self.rings.link_data.next = self.registers.link_data.val();

        // scores
        self.scores.tag_6.next = self.word_6.q.val();
        self.scores.tag_7.next = self.word_7.q.val();
        self.scores.sums.next = self.array.sums.val();
        self.scores.head_valid.next = self.heads.valid.val();
        self.scores.head_key.next = self.heads.key.val();
        self.scores.head_far.next = self.heads.far.val();
        self.scores.head_last.next = self.heads.last.val();
        self.scores.head.next = self.heads.head.val();
        self.scores.e.next = self.heads.e.val();
        self.scores.mu.next = self.heads.mu.val();
        self.scores.key_scale_at.next = self.rings.key_scale_at.val();
        self.scores.key_row.next = self.conductor.key_row.val();
        self.scores.link_write.next = self.registers.write_key_scales.val();
        self.scores.link_at.next = self.registers.link_at.val().get_bits::<16>(0);
        self.scores.link_lane.next = self.registers.link_lane.val();
        self.scores.link_data.next = self.registers.link_data.val();
        self.scores.idle.next = !self.conductor.busy.val();
        self.scores.read_at.next = self.scan.operand_at.val();
        self.scores.tag_1.next = self.word_1.q.val();
        self.mixer.tag.next = self.word_5.q.val();
        self.mixer.p.next = self.operand.p.val();
        self.sampler.early_tag.next = self.drain.pair_tag.val();
        self.sampler.pair_tag.next = self.pair_16.q.val();
        self.sampler.y0.next = self.tail.y0.val();
        self.sampler.y1.next = self.tail.y1.val();
        self.sampler.temperature.next = self.registers.temperature.val();
        self.sampler.key0.next = self.registers.key0.val();
        self.sampler.key1.next = self.registers.key1.val();
        self.sampler.samples.next = self.conductor.samples.val();
        self.sampler.clear_crc.next = self.registers.clear_crc.val();
        self.sampler.link_at.next = self.registers.link_at.val().get_bits::<16>(0);
    }
}
