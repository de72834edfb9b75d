// A stand-in for the RP2040's boot ROM, which is not ours to ship. Firmware finds functions in
// it by a code of two letters; here each of them is a breakpoint and a return, and what it does
// is done at the breakpoint.

const TABLE_CODE = 0x0010; // where firmware looks for "Mu", 1, the version of the ROM
const FUNCTION_TABLE = 0x0014;
const DATA_TABLE = 0x0016;
const LOOKUP = 0x0018;
const FIRST_FUNCTION = 0x0100;
const FIRST_BREAKPOINT = 0x80;
const SECTOR = 4096;
const RAM = 0x20000000;
const LR = 14;

const code = (letters) => letters.charCodeAt(0) | (letters.charCodeAt(1) << 8);
const unsigned = (x) => x >>> 0;

/** The functions by their code; each is given the registers, where its arguments are. */
function functions(mcu, { bootLoader }) {
  const copy = (r) => {
    const [to, from, count] = [unsigned(r[0]), unsigned(r[1]), unsigned(r[2])];
    for (let i = 0; i < count; i++) mcu.writeUint8(to + i, mcu.readUint8(from + i));
  };
  const fill = (r) => {
    const [to, count] = [unsigned(r[0]), unsigned(r[2])];
    for (let i = 0; i < count; i++) mcu.writeUint8(to + i, r[1] & 0xff);
  };
  // While flash is written it cannot be read: not by whoever has it written, either.
  const outsideFlash = (r) => {
    if (unsigned(r[LR]) < RAM) throw new Error('flash written by code that lies in it');
  };
  return {
    MC: copy,
    C4: copy,
    MS: fill,
    S4: fill,
    P3: (r) => {
      let ones = 0;
      for (let x = unsigned(r[0]); x; x >>>= 1) ones += x & 1;
      r[0] = ones;
    },
    R3: (r) => {
      let reversed = 0;
      for (let i = 0; i < 32; i++) reversed = (reversed << 1) | ((r[0] >>> i) & 1);
      r[0] = reversed;
    },
    L3: (r) => {
      r[0] = Math.clz32(r[0]);
    },
    T3: (r) => {
      r[0] = r[0] ? 31 - Math.clz32(r[0] & -r[0]) : 32;
    },
    UB: bootLoader,
    // Flash: what its chip does, without the time that it takes.
    IF: outsideFlash,
    EX: outsideFlash,
    FC: outsideFlash,
    CX: outsideFlash,
    RE: (r) => {
      outsideFlash(r);
      const [from, count] = [unsigned(r[0]), unsigned(r[1])];
      if (from % SECTOR || count % SECTOR) throw new Error('flash erased off its sectors');
      mcu.flash.fill(0xff, from, from + count);
    },
    RP: (r) => {
      outsideFlash(r);
      if (unsigned(r[1]) < RAM) throw new Error('flash programmed with what lies in it');
      const [to, from, count] = [unsigned(r[0]), unsigned(r[1]), unsigned(r[2])];
      if (to % 256 || count % 256) throw new Error('flash programmed off its pages');
      // A bit that is 0 stays 0 until its sector is erased.
      for (let i = 0; i < count; i++) mcu.flash[to + i] &= mcu.readUint8(from + i);
    },
  };
}

/** Puts the ROM into a microcontroller. */
export function installRom(mcu, actions) {
  const rom = new DataView(mcu.bootrom.buffer);
  const registers = mcu.core.registers;
  const handlers = [];
  const addresses = new Map();
  const install = (handler) => {
    const at = FIRST_FUNCTION + 4 * handlers.length;
    rom.setUint16(at, 0xbe00 | (FIRST_BREAKPOINT + handlers.length), true); // bkpt
    rom.setUint16(at + 2, 0x4770, true); // bx lr
    handlers.push(handler);
    return at | 1;
  };
  for (const [letters, handler] of Object.entries(functions(mcu, actions))) {
    addresses.set(code(letters), install(handler));
  }
  // Firmware copies tables of 16-bit words: ours are never read, the lookup ignores them.
  const lookup = install((r) => {
    r[0] = addresses.get(r[1] & 0xffff) ?? 0;
  });
  rom.setUint32(TABLE_CODE, 0x0201754d, true);
  rom.setUint16(FUNCTION_TABLE, 0, true);
  rom.setUint16(DATA_TABLE, 0, true);
  rom.setUint16(LOOKUP, lookup, true);
  mcu.onBreak = (number) => {
    const handler = handlers[number - FIRST_BREAKPOINT];
    if (!handler || mcu.core.PC >= 0x4000) {
      throw new Error(`breakpoint ${number} at ${mcu.core.PC.toString(16)}`);
    }
    handler(registers);
  };
}
