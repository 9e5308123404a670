import type { FilePart } from './checkpoint.js';

/** The parts of a file, and where they end. Copies of neighbouring bytes are joined. */
export class PartList {
  readonly parts: FilePart[] = [];
  end = 0;

  bytes(data: Uint8Array): void {
    this.add({ kind: 'bytes', data }, data.length);
  }

  zeros(count: number): void {
    this.bytes(new Uint8Array(count));
  }

  tensor(name: string, bytes: number): void {
    this.add({ kind: 'tensor', name, bytes }, bytes);
  }

  copy(file: string, offset: number, bytes: number): void {
    const last = this.parts.at(-1);
    if (last?.kind === 'copy' && last.file === file && last.offset + last.bytes === offset) {
      this.parts[this.parts.length - 1] = { ...last, bytes: last.bytes + bytes };
      this.end += bytes;
    } else {
      this.add({ kind: 'copy', file, offset, bytes }, bytes);
    }
  }

  append(part: FilePart): void {
    if (part.kind === 'copy') this.copy(part.file, part.offset, part.bytes);
    else this.add(part, part.kind === 'bytes' ? part.data.length : part.bytes);
  }

  private add(part: FilePart, bytes: number): void {
    if (bytes === 0 && part.kind !== 'tensor') return;
    this.parts.push(part);
    this.end += bytes;
  }
}
