import { deflateRawSync } from 'node:zlib';

export interface ZipEntry {
  name: string;
  data: Uint8Array;
  deflate?: boolean;
  /** What the headers say instead of the truth. */
  says?: { size?: number; method?: number; flags?: number };
}

/** A zip by hand, because these tests need ones that no library writes. CRCs are left at 0: yauzl does not look at them. */
export function zipOf(entries: ZipEntry[], change: { entryCount?: number } = {}): Buffer {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, data, deflate, says } of entries) {
    const body = deflate ? deflateRawSync(data) : Buffer.from(data);
    const nameBytes = Buffer.from(name);
    const header = Buffer.alloc(26);
    header.writeUInt16LE(20, 0); // version needed
    header.writeUInt16LE(says?.flags ?? 0x800, 2); // names are UTF-8
    header.writeUInt16LE(says?.method ?? (deflate ? 8 : 0), 4);
    header.writeUInt32LE(body.length, 14);
    header.writeUInt32LE(says?.size ?? data.length, 18);
    header.writeUInt16LE(nameBytes.length, 22);
    const start = Buffer.concat([Buffer.from('PK\u0003\u0004'), header, nameBytes, body]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from('PK\u0001\u0002'), Buffer.from([20, 0]), header, tail, nameBytes]));
    local.push(start);
    offset += start.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write('PK\u0005\u0006', 'latin1');
  end.writeUInt16LE(change.entryCount ?? entries.length, 8);
  end.writeUInt16LE(change.entryCount ?? entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...local, directory, end]);
}
