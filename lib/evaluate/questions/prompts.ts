/**
 * The wording of LASER's prompts (Sharma, Ash and Misra 2023; github.com/pratyushasharma/laser,
 * src/intervention_*.py and src/dataset_utils/), to the character: other words give other figures.
 * If a masked model gets other words than a causal one, both are here.
 */

import type { PromptStyle } from './question.js';

/**
 * Stands in a prompt for the tokens that a masked model fills in, whatever its tokenizer calls
 * them.
 */
export const MASK = '<mask>';

export const BOOLEANS = ['false', 'true'] as const;
export const GENDERS = ['male', 'female'] as const;
/** The professions of Bias in Bios (of 28) that are one token for GPT-J, in LASER's order. */
export const PROFESSIONS = [
  'journalist',
  'poet',
  'composer',
  'model',
  'teacher',
  'architect',
  'painter',
  'professor',
] as const;

/** Ends a sentence with a full stop, unless it has one or a question mark. */
function sentence(text: string): string {
  const trimmed = text.trim();
  return trimmed.endsWith('.') || trimmed.endsWith('?') ? trimmed : `${trimmed}.`;
}

export function feverPrompt(claim: string, style: PromptStyle): string {
  const prompt = `Consider the following claim: ${sentence(claim)} Is this claim true or false. The claim is`;
  return style === 'masked' ? `${prompt} ${MASK}` : prompt;
}

export function bioGenderPrompt(text: string, style: PromptStyle): string {
  const end = style === 'masked' ? `This person is ${MASK}.` : 'The gender of this person is';
  return `Consider the following text: ${sentence(text)} Is the person in this text a male or female? ${end}`;
}

export function bioProfessionPrompt(text: string, style: PromptStyle): string {
  const end =
    style === 'masked'
      ? `The profession of the person in the text is called ${MASK}.`
      : 'What is the profession of the person in this text? The profession of this person is';
  return `Consider the following text: ${sentence(text)} ${end}`;
}

/** The next sentence follows the full stop without a space, as in the original. */
export function truthfulPrompt(question: string, answer: string, style: PromptStyle): string {
  const statement = `${question} ${answer}`;
  const stop = statement.endsWith('.') ? '' : '.';
  const prompt = `${statement}${stop}Is this statement true or false? This statement is`;
  return style === 'masked' ? `${prompt} ${MASK}` : prompt;
}

export function hotpotPrompt(question: string): string {
  const mark = question.endsWith('?') || question.endsWith('.') ? '' : '?';
  return `${question}${mark} The answer is`;
}

export function counterFactPrompt(question: string, style: PromptStyle): string {
  if (style === 'causal') return question;
  return question.endsWith(' ') ? `${question}${MASK}.` : `${question} ${MASK}.`;
}
