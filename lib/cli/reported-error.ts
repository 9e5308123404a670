/** A failure that the command has already reported; only the exit code remains. */
export class ReportedError extends Error {
  override readonly name = 'ReportedError';
}
