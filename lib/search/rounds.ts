/** The share of the full grid's questions that a guided search may ask. */
export const GUIDED_SHARE = 1 / 3;

/** Where early stopping looks first, too; fewer questions tell little apart. */
const FIRST_ROUND = 32;

/**
 * Plans the rounds of a guided search: how many questions a candidate has been asked after each.
 * All candidates are asked the same few questions, those that are left as many again, and so on
 * until all are asked. The first round has 32 questions, or fewer where halving the candidates
 * after each round would cost more than the share of the full grid's questions.
 *
 * @param candidates at least 1
 * @param questions at least 1
 */
export function planRounds(candidates: number, questions: number, share = GUIDED_SHARE): number[] {
  let best = doubled(1, questions);
  for (let first = 2; first <= Math.min(FIRST_ROUND, questions); first++) {
    const rounds = doubled(first, questions);
    if (costOfRounds(candidates, rounds, 0) > share * candidates * questions) break;
    best = rounds;
  }
  return best;
}

function doubled(first: number, questions: number): number[] {
  const rounds = [Math.min(first, questions)];
  for (let last = rounds[0]!; last < questions; last = rounds.at(-1)!) rounds.push(Math.min(questions, 2 * last));
  return rounds;
}

/** Returns the questions of the rounds from one on, if each round halves the candidates. */
export function costOfRounds(candidates: number, rounds: readonly number[], from: number): number {
  return rounds.slice(from).reduce((sum, end, i) => {
    return sum + Math.ceil(candidates / 2 ** i) * (end - (rounds[from + i - 1] ?? 0));
  }, 0);
}

/**
 * Returns how many candidates a budget of questions allows in the rounds from one on, if each round
 * halves them: the successive halving of Karnin, Koren and Somekh (2013) and of Jamieson and
 * Talwalkar (2016), started anew after every round. At least 1.
 */
export function affordable(rounds: readonly number[], from: number, budget: number): number {
  let candidates = 1;
  while (costOfRounds(candidates + 1, rounds, from) <= budget) candidates++;
  return candidates;
}
