// The wires of a pico-ice: which of the RP2040's pins reach what of the FPGA, which is
// modeled on the other side of the channel.

import { GPIOPinState, I2CMode } from 'rp2040js';
import { Event } from './channel.mjs';

const PIN = { SELECT: 5, DATA: 8, CONFIG_SELECT: 9, CONFIG_CLOCK: 10, CLOCK: 24, DONE: 26, RESET: 27 };
const LEDS = [12, 13, 15]; // green, red, blue; active low
const CLOCK_OUTPUT = 8; // the function of pin 24 that gives it the clock generator GPOUT2
const CHUNK = 512;
const SCREEN = 0x3c; // address of the display
const SCREEN_WIRES = [0, 1];

/** A pin as a wire sees it that something weakly pulls up. */
const level = (state) =>
  state === GPIOPinState.Low || state === GPIOPinState.InputPullDown ? 0 : 1;

export class PicoIce {
  #mcu;
  #channel;
  /** What was told last of each clock. */
  #told = {};
  #bits = 0;
  #count = 0;
  #chunk = [];
  #dummy = 0;

  constructor(mcu, channel, now, { screen }) {
    this.#mcu = mcu;
    this.#channel = channel;
    this.now = now;
    const { gpio } = mcu;
    const tell = (event, value) => channel.tell(event, this.now(), value);

    const spi = mcu.spi[0];
    let answer = 0;
    const done = mcu.clock.createAlarm(() => spi.completeTransmit(answer));
    spi.onTransmit = (value) => {
      answer = channel.ask(Event.SPI, this.now(), value);
      done.schedule((spi.dataBits * 1e9) / spi.clockFrequency);
    };
    gpio[PIN.SELECT].addListener((state) => {
      // Clocks that the port has had and was not told of may have woken the core.
      this.#flush();
      this.clocks();
      tell(Event.SELECT, level(state));
    });

    gpio[PIN.RESET].addListener((state) => {
      this.#flush();
      // A resistor on the board holds it up against the microcontroller's own.
      const selected = !level(gpio[PIN.CONFIG_SELECT].value);
      tell(Event.RESET_PIN, (state === GPIOPinState.Low ? 0 : 1) | (selected ? 2 : 0));
      gpio[PIN.DONE].setInputValue(false);
    });
    gpio[PIN.CONFIG_CLOCK].addListener((state) => {
      if (state === GPIOPinState.High) this.#configurationClock();
    });
    gpio[PIN.CONFIG_SELECT].addListener(() => this.#flush());

    // The emulator does not model what a pin's own resistor does to a wire that nobody drives.
    for (const pin of SCREEN_WIRES) gpio[pin].setInputValue(true);
    if (screen) this.#plugScreen();

    for (const pin of LEDS) {
      gpio[pin].addListener(() => tell(Event.LEDS, this.#leds()));
    }
  }

  /** A display on the I2C pins: it takes what is written to it. */
  #plugScreen() {
    const i2c = this.#mcu.i2c[0];
    let message = [];
    i2c.onConnect = (address, mode) => {
      i2c.completeConnect(address === SCREEN && mode === I2CMode.Write);
    };
    // Eight bits and the acknowledgement.
    const taken = this.#mcu.clock.createAlarm(() => i2c.completeWrite(true));
    i2c.onWriteByte = (value) => {
      message.push(value);
      const cycles = 9 * (i2c.sclLowPeriod + i2c.sclHighPeriod);
      taken.schedule((cycles * 1e9) / this.#mcu.clkSys);
    };
    i2c.onStop = () => {
      if (message.length) {
        this.#channel.tell(Event.SCREEN, this.now(), 0, Uint8Array.from(message));
      }
      message = [];
      i2c.completeStop();
    };
  }

  #leds() {
    const lit = (pin, i) => (this.#mcu.gpio[pin].value === GPIOPinState.Low ? 1 << i : 0);
    return LEDS.reduce((bits, pin, i) => bits | lit(pin, i), 0);
  }

  /** Tells the frequencies of the wires' clocks, if they have changed. */
  clocks() {
    this.#tellClock(Event.CLOCK, this.#clockFrequency());
    this.#tellClock(Event.SERIAL_CLOCK, this.#mcu.spi[0].clockFrequency);
  }

  #tellClock(event, frequency) {
    if (this.#told[event] === frequency) return;
    this.#told[event] = frequency;
    const payload = new Uint8Array(Float64Array.of(frequency).buffer);
    this.#channel.tell(event, this.now(), 0, payload);
  }

  // RP2040 datasheet, 2.15.7: CLK_GPOUT2_CTRL and _DIV.
  #clockFrequency() {
    const { gpio, clocks, pllSys, pllUsb, clkSys, xoscFreq } = this.#mcu;
    const control = clocks.gpout2Ctrl;
    if (gpio[PIN.CLOCK].functionSelect !== CLOCK_OUTPUT || !(control & (1 << 11))) return 0;
    const sources = {
      0: pllSys.frequency,
      3: pllUsb.frequency,
      5: xoscFreq,
      6: clkSys,
      7: pllUsb.frequency, // clk_usb is never divided
    };
    return ((sources[(control >> 5) & 15] ?? 0) * 256) / clocks.gpout2Div;
  }

  #configurationClock() {
    const { gpio } = this.#mcu;
    if (level(gpio[PIN.CONFIG_SELECT].value)) {
      if (++this.#dummy === 8) this.#flush();
      return;
    }
    this.#bits = (this.#bits << 1) | level(gpio[PIN.DATA].value);
    if (++this.#count < 8) return;
    this.#chunk.push(this.#bits & 0xff);
    this.#count = 0;
    if (this.#chunk.length === CHUNK) this.#flush();
  }

  #flush() {
    let done;
    if (this.#chunk.length) {
      const bytes = Uint8Array.from(this.#chunk);
      done = this.#channel.ask(Event.CONFIGURE, this.now(), 0, bytes);
    }
    if (this.#dummy) done = this.#channel.ask(Event.DUMMY, this.now(), this.#dummy);
    if (done !== undefined) this.#mcu.gpio[PIN.DONE].setInputValue(done === 1);
    this.#chunk = [];
    this.#count = 0;
    this.#dummy = 0;
  }
}
