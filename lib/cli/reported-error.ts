/** A failure that the command has told in its own words: what is left is the exit code. */
export class Told extends Error {
  override readonly name = 'Told';
}
