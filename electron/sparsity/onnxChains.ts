import type { GraphProto, NodeProto } from 'onnx-buf';
import { exportAgain, packInvalid, quote } from './packError';

export const predictorsFile = 'predictors.onnx';

export function refuse(why: string, cause?: unknown): Error {
  return packInvalid(`${predictorsFile} ${why}`, exportAgain, cause);
}

export function byName<T>(list: T[], name: (item: T) => string, what: string): Map<string, T> {
  const map = new Map(list.map((item) => [name(item), item]));
  if (map.size < list.length) {
    const twice = list.find((item) => map.get(name(item)) !== item)!;
    throw refuse(`has the ${what} ${quote(name(twice))} twice`);
  }
  return map;
}

/** What one score is computed from: names of the input and of initialisers. */
export interface Chain {
  input: string;
  a: string;
  b: string;
  bias: string | null;
  relu: boolean;
}

/** A graph's nodes by what they compute; each belongs to one score. */
export class Chains {
  private readonly makers: Map<string, NodeProto>;

  constructor(
    graph: GraphProto,
    private readonly isWeight: (name: string) => boolean,
  ) {
    this.makers = byName(graph.node, (node) => node.output[0] ?? '', 'value');
  }

  /** From a score back to its input. Errors: pack-invalid (another graph than onnx.ts describes). */
  follow(score: string): Chain {
    let value = score;
    const step = (opType: string): string | null => {
      const node = this.makers.get(value);
      const standard = node?.domain === '' || node?.domain === 'ai.onnx';
      if (!node || !standard || node.opType !== opType || node.output.length !== 1) return null;
      const [first = '', second = ''] = node.input;
      if (node.input.length !== (opType === 'Relu' ? 1 : 2)) return null;
      const swapped = opType === 'Add' && this.isWeight(first); // a sum may be written either way round
      this.makers.delete(value);
      value = swapped ? second : first;
      return swapped ? first : second;
    };
    const bias = step('Add');
    const b = step('MatMul');
    const relu = step('Relu') !== null;
    const a = step('MatMul');
    if (a === null || b === null) {
      throw refuse(
        `computes ${quote(score)} in another way than MatMul, Relu, MatMul, Add; the engine cannot run such predictors`,
      );
    }
    for (const name of [a, b, bias]) {
      if (name !== null && !this.isWeight(name))
        throw refuse(`lacks the initialiser ${quote(name)} for ${quote(score)}`);
    }
    return { input: value, a, b, bias, relu };
  }

  unused(): string[] {
    return [...this.makers.keys()];
  }
}
