import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { TensorType } from '../engine/addon';
import { blockTypeNames } from '../models/synthetic/blockTypes';
import { peerShape, shapes, syntheticLabel } from '../models/synthetic/shapes';
import type { Shape } from '../models/synthetic/shapes';
import { writeShape } from '../models/synthetic/writeShape';
import { megabytes, print, printJson, progressLine } from './output';

/** What `hunch shape` and `hunch bench --shape` take. */
export interface ShapeOptions {
  type: TensorType;
  json?: boolean;
}

export const shapeNames = shapes.map(({ name }) => name);

export function typeOption(): Option {
  return new Option('--type <type>', `weights of the shape: ${blockTypeNames.join(', ').toLowerCase()}`)
    .argParser((text): TensorType => {
      const found = blockTypeNames.find((name) => name === text.toUpperCase());
      if (found) return found;
      throw new InvalidArgumentError(`Allowed choices are ${blockTypeNames.join(', ').toLowerCase()}.`);
    })
    .default('Q4_0', 'q4_0');
}

export function findShape(name: string): Shape {
  const found = shapes.find((shape) => shape.name === name);
  if (found) return found;
  throw new InvalidArgumentError(`Allowed choices are ${shapeNames.join(', ')}.`);
}

/** The file of a shape, written now unless it is in the cache. */
export async function shapeFile(shape: Shape, type: TensorType): Promise<string> {
  const progress = progressLine();
  try {
    return await writeShape(shape, type, {
      onProgress: (written, total) =>
        progress.show(
          `Writing ${shape.name} ${type} (${syntheticLabel}): ${Math.floor((100 * written) / total)} % of ${megabytes(total)}`,
        ),
    });
  } finally {
    progress.end();
  }
}

/** `hunch shape NAME`: writes the file and prints its path. */
export async function shape(chosen: Shape, options: ShapeOptions & { forPeer?: boolean }): Promise<void> {
  const written = options.forPeer ? peerShape(chosen) : chosen;
  const file = await shapeFile(written, options.type);
  if (!options.json) return print(file);
  const { name, architecture } = written;
  printJson({ command: 'shape', path: file, name, architecture, type: options.type, synthetic: syntheticLabel });
}

export function addShapeCommand(hunch: Command, jsonOption: Option): Command {
  return hunch
    .command('shape')
    .description(`write a model of a real shape with random weights (${syntheticLabel})`)
    .argument('<name>', shapeNames.join(', '), findShape)
    .addOption(typeOption())
    .option('--for-peer', 'the nearest shape that llama.cpp loads, where it lacks the architecture')
    .addOption(jsonOption);
}
