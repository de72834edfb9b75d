// The host's side of a USB serial port (CDC-ACM) on the emulated device controller: it
// enumerates the device as an operating system would, and then moves bytes.

import {
  createSetupPacket,
  DataDirection,
  setDeviceAddressPacket,
  setDeviceConfigurationPacket,
  SetupRecipient,
  SetupType,
} from 'rp2040js';

const DEVICE = 1;
const CONFIGURATION = 2;
const STRING = 3;
const ENGLISH = 0x0409;
const INTERFACE = 4;
const ENDPOINT = 5;
const CDC_DATA = 10;
const SET_CONTROL_LINE_STATE = 0x22;
const DTR_RTS = 3;
// Hosts begin a control transfer a frame after the last one has ended.
const FRAME = 1_000_000;

/** The descriptors one after the other. */
function* split(descriptors) {
  for (let at = 0; at + 1 < descriptors.length && descriptors[at]; at += descriptors[at]) {
    yield descriptors.slice(at, at + descriptors[at]);
  }
}

export class SerialHost {
  /** Bytes that the operating system keeps for the device. */
  static ROOM = 4096;

  #usb;
  #setup = null;
  #frame;
  #steps = null;
  #answer = [];
  #wanted = 0;
  #in = -1;
  #out = -1;
  #up = false;
  /** Whether a program has the port open, and what the device was told last. */
  #open = false;
  #told = false;
  #telling = false;
  #toDevice = [];
  #fromDevice = [];
  #held = false;
  /** Endpoints on which the device waits for bytes, and how many; also of those yet unknown. */
  #armed = new Map();

  /** Called once, when the device is ready, with what it says it is. */
  onUp = () => {};

  constructor({ usbCtrl: usb, clock }) {
    this.#usb = usb;
    this.#frame = clock.createAlarm(() => usb.sendSetupPacket(this.#setup));
    usb.onUSBEnabled = () => usb.resetDevice();
    usb.onResetReceived = () => {
      this.#steps = this.#enumerate();
      this.#steps.next();
    };
    usb.onEndpointRead = (endpoint, size) => {
      // The status stage of a control transfer needs nothing from us.
      if (endpoint === 0) return;
      this.#armed.set(endpoint, size);
      this.#send();
    };
    usb.onEndpointWrite = (endpoint, bytes) => {
      if (endpoint === 0) this.#control(bytes);
      else if (endpoint === this.#in) this.#fromDevice.push(...bytes);
    };
    // A host that does not read leaves the device's packet where it is: the device is not told
    // that it was taken.
    const ready = usb.indicateBufferReady.bind(usb);
    usb.indicateBufferReady = (endpoint, out) => {
      if (endpoint === this.#in && !out && this.#fromDevice.length) this.#held = true;
      else ready(endpoint, out);
    };
    this.#release = () => {
      if (!this.#held) return;
      this.#held = false;
      ready(this.#in, false);
    };
  }

  #release;

  /** Room for bytes to the device. */
  get room() {
    return this.#up ? SerialHost.ROOM - this.#toDevice.length : 0;
  }

  /** Whether a program has the port open. */
  set open(open) {
    this.#open = open;
    this.#lineState();
  }

  /** Sends bytes to the device. */
  write(bytes) {
    for (const byte of bytes) this.#toDevice.push(byte);
    this.#send();
  }

  /** Takes what the device has sent; at most `count` bytes. */
  read(count) {
    const bytes = this.#fromDevice.splice(0, count);
    if (!this.#fromDevice.length) this.#release();
    return bytes;
  }

  #send() {
    if (!this.#up || !this.#armed.has(this.#out) || !this.#toDevice.length) return;
    const count = Math.min(this.#armed.get(this.#out), this.#toDevice.length);
    this.#armed.delete(this.#out);
    this.#usb.endpointReadDone(this.#out, Uint8Array.from(this.#toDevice.splice(0, count)));
  }

  #lineState() {
    if (!this.#up || this.#telling || this.#told === this.#open) return;
    this.#telling = true;
    this.#told = this.#open;
    this.#request(
      createSetupPacket({
        dataDirection: DataDirection.HostToDevice,
        type: SetupType.Class,
        recipient: SetupRecipient.Device + 1, // the interface
        bRequest: SET_CONTROL_LINE_STATE,
        wValue: this.#open ? DTR_RTS : 0,
        wIndex: 0,
        wLength: 0,
      }),
    );
  }

  // Enumeration, a request after the other: each `yield` waits for the answer to the last.
  *#enumerate() {
    this.#request(setDeviceAddressPacket(1));
    yield;
    const device = yield this.#ask(DEVICE, 0, 18);
    const product = yield this.#ask(STRING, device[15], 255);
    const head = yield this.#ask(CONFIGURATION, 0, 9);
    const all = yield this.#ask(CONFIGURATION, 0, head[2] | (head[3] << 8));
    let data = false;
    for (const descriptor of split(all)) {
      if (descriptor[1] === INTERFACE) data = descriptor[5] === CDC_DATA;
      if (descriptor[1] !== ENDPOINT || !data) continue;
      if (descriptor[2] & 0x80) this.#in = descriptor[2] & 0x0f;
      else this.#out = descriptor[2];
    }
    this.#request(setDeviceConfigurationPacket(1));
    yield;
    this.#up = true;
    this.#send();
    this.onUp({
      vendor: device[8] | (device[9] << 8),
      product: device[10] | (device[11] << 8),
      name: Buffer.from(product.slice(2)).toString('utf16le'),
    });
  }

  #request(setup) {
    this.#setup = setup;
    this.#frame.schedule(FRAME);
  }

  #ask(type, index, length) {
    this.#answer = [];
    this.#wanted = length;
    this.#request(
      createSetupPacket({
        dataDirection: DataDirection.DeviceToHost,
        type: SetupType.Standard,
        recipient: SetupRecipient.Device,
        bRequest: 6,
        wValue: (type << 8) | index,
        wIndex: type === STRING ? ENGLISH : 0,
        wLength: length,
      }),
    );
  }

  #control(bytes) {
    if (this.#up) {
      this.#telling = false;
      this.#lineState();
      return;
    }
    if (!this.#steps) return;
    this.#answer.push(...bytes);
    const whole =
      !bytes.length || bytes.length < 64 || this.#answer.length >= this.#wanted;
    if (whole) this.#steps.next(this.#answer);
  }
}
