import { z } from 'zod';
import { stopNames, type FrontierPoint, type StopName } from '../contract/sparsity';
import type { LayerPlan, LowRankPredictor, ModelSpec, Plan } from '../engine/addon';
import { packInvalid, quote } from './packError';

/** Of pack.json. A file with a higher number comes from a newer Hunch and is refused. */
export const packFormat = 1;

/** What no real model reaches; all counts are checked before anything is made from them. */
export const packLimits = {
  jsonBytes: 8 * 2 ** 20,
  jsonValues: 100_000, // else an endless list yields as many error messages
  onnxBytes: 512 * 2 ** 20,
  layers: 1024,
  width: 2 ** 17,
  neurons: 2 ** 20,
  heads: 4096,
};

export type PackStop = Exclude<StopName, 'dense'>;
export const packStops = stopNames.filter((name): name is PackStop => name !== 'dense');

const float32Max = 3.4028234663852886e38;
const float = z.number().min(-float32Max).max(float32Max);
const share = z.number().min(0).max(1);
const count = (most: number): z.ZodNumber => z.number().int().min(1).max(most);
const line = (longest: number): z.ZodString =>
  z
    .string()
    .min(1)
    .max(longest)
    .regex(/^[^\x00-\x1f\x7f]*$/, 'control characters are not allowed');
const date = z.iso.datetime({ offset: true });
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits in lower case');

const modelSchema = z.strictObject({
  sha256, // of the model's file
  fileName: line(255), // for people; the file may be renamed
  architecture: line(64),
  layers: count(packLimits.layers),
  width: count(packLimits.width),
  neurons: count(packLimits.neurons), // of a layer's MLP
  heads: count(packLimits.heads),
  kvHeads: count(packLimits.heads),
});
export type PackModel = z.infer<typeof modelSchema>;

/** Of one predictor; recall and density (share of the rows named) are null where nobody measured them. */
const predictorSchema = z.strictObject({
  source: z.enum(['previous', 'attention', 'same']),
  rank: count(packLimits.width),
  relu: z.boolean(),
  recall: share.nullable(),
  density: share.nullable(),
});
const perLayer = z.array(predictorSchema.nullable()).max(packLimits.layers);
const predictorsSchema = z.strictObject({ mlp: perLayer, heads: perLayer });
export type PackPredictors = z.infer<typeof predictorsSchema>;

const layerPlanSchema = z.strictObject({
  mlp: z.enum(['dense', 'exact', 'screened', 'predicted']),
  gateThreshold: float.min(0),
  scoreThreshold: float,
  headThreshold: float.nullable(),
}) satisfies z.ZodType<LayerPlan>;

const planSchema = z.strictObject({
  layers: z.array(layerPlanSchema).max(packLimits.layers),
  vocabulary: z.strictObject({
    bits: z.union([z.literal(0), z.literal(2), z.literal(4)]),
    margin: float.min(0),
  }),
  correctEvery: z.number().int().min(1).max(256).optional(),
}) satisfies z.ZodType<Plan>;
const optionalPlan = planSchema.optional();
const stopsSchema = z.strictObject({
  exact: optionalPlan,
  careful: optionalPlan,
  balanced: optionalPlan,
  fast: optionalPlan,
  fastest: optionalPlan,
}) satisfies z.ZodType<Partial<Record<PackStop, Plan>>>;

const rate = z.number().positive().max(1e9);
const correctedSchema = z.strictObject({ tokensPerSecond: rate, speedup: rate, perplexityRatio: rate });

const pointSchema = z.strictObject({
  stop: z.enum(stopNames),
  tokensPerSecond: rate,
  speedup: rate,
  perplexityRatio: rate,
  kl: z.number().min(-1).max(1e9), // never below 0 but for rounding
  agreement: share,
  density: share,
  bytesPerToken: z.number().min(0).max(1e15),
  corrected: correctedSchema.optional(),
}) satisfies z.ZodType<FrontierPoint>;

const measuredSchema = z.strictObject({
  date,
  machine: line(200),
  threads: count(1024),
  text: line(200), // which held-out text
  tokens: count(1e9),
  command: line(1000), // that measures it again
});

export const packSchema = z.strictObject({
  format: z.literal(packFormat),
  model: modelSchema,
  created: date,
  hunch: line(64), // version that wrote it
  predictors: predictorsSchema,
  /** Of predictors.onnx; the writer fills it in. Without it (a pack by other tools) the file is not compared. */
  predictorsSha256: sha256.optional(),
  /** All layers, the least sensitive first: between two stops these run as at the faster one first. Default: by index. */
  sensitivity: z
    .array(
      z
        .number()
        .int()
        .min(0)
        .max(packLimits.layers - 1),
    )
    .max(packLimits.layers)
    .optional(),
  /** How often each neuron is active, layer by layer: a byte a neuron (255 = always), as base64. Divides models that a GPU's memory does not hold. */
  frequencies: z
    .array(z.base64().max(4 * Math.ceil(packLimits.neurons / 3)))
    .max(packLimits.layers)
    .optional(),
  stops: stopsSchema,
  /** Dense first; empty while nothing was measured. */
  frontier: z.array(pointSchema).max(stopNames.length),
  measured: measuredSchema.nullable(),
});
/** pack.json. */
export type Pack = z.infer<typeof packSchema>;

/** A model as its pack names it. */
export function packModel(
  spec: Pick<ModelSpec, 'architecture' | 'layers' | 'width' | 'ffnWidth' | 'heads' | 'kvHeads'>,
  file: { sha256: string; fileName: string },
): PackModel {
  const { architecture, layers, width, ffnWidth: neurons, heads, kvHeads } = spec;
  return {
    sha256: file.sha256.toLowerCase(),
    fileName: file.fileName,
    architecture,
    layers,
    width,
    neurons,
    heads,
    kvHeads,
  };
}

/** A calibration's frequencies (0…1 a neuron) as pack.json keeps them. */
export const packFrequencies = (layers: readonly Float32Array[]): string[] =>
  layers.map((layer) => Buffer.from(Uint8Array.from(layer, (share) => Math.round(255 * share))).toString('base64'));

/** What pack.json keeps of them, as LoadOptions take it. */
export const frequenciesOf = (pack: Pack): Float32Array[] | undefined =>
  pack.frequencies?.map((layer) => Float32Array.from(Buffer.from(layer, 'base64'), (byte) => byte / 255));

/** Checks what pack.json holds, in itself. Errors: pack-invalid, naming the place in the file. */
export function checkPack(value: unknown): Pack {
  const format = (value as { format?: unknown } | null)?.format;
  if (typeof format === 'number' && format > packFormat) {
    throw packInvalid(
      `it was made by a newer version of Hunch (format ${format}; this one reads ${packFormat})`,
      'Update Hunch, or calibrate the model again to replace the pack.',
    );
  }
  const { data: pack, error } = packSchema.safeParse(value);
  if (error) {
    const issue = error.issues[0]!;
    const place = issue.path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
    throw packInvalid(`pack.json is damaged${place && ` at ${quote(place.slice(1))}`}: ${quote(issue.message, 200)}`);
  }
  const wrong = contradiction(pack);
  if (wrong !== null) throw packInvalid(`pack.json contradicts itself: ${wrong}`);
  return pack;
}

/** Errors: pack-invalid. */
export function parsePack(text: string): Pack {
  let value: unknown;
  let values = 0;
  try {
    value = JSON.parse(text, (_key, item: unknown) => {
      if (++values > packLimits.jsonValues) throw new Error(`more than ${packLimits.jsonValues} values`);
      return item;
    });
  } catch (error) {
    throw packInvalid(`pack.json is not readable JSON (${quote((error as Error).message)})`, undefined, error);
  }
  return checkPack(value);
}

function contradiction({
  model,
  predictors,
  sensitivity,
  frequencies,
  stops,
  frontier,
  measured,
}: Pack): string | null {
  const { layers, width, heads, kvHeads } = model;
  if (heads % kvHeads !== 0) return `${heads} heads cannot share ${kvHeads} KV heads`;
  for (const [kind, list] of Object.entries(predictors)) {
    if (list.length !== layers) return `predictors.${kind} has ${list.length} entries for ${layers} layers`;
    const layer = list.findIndex((info: PackPredictors['mlp'][number]) => info !== null && info.rank > width);
    if (layer >= 0) return `predictors.${kind}[${layer}] has a higher rank than the model's width, ${width}`;
  }
  if (
    sensitivity &&
    (sensitivity.length !== layers || new Set(sensitivity).size !== layers || Math.max(...sensitivity) >= layers)
  ) {
    return `sensitivity does not name each of the ${layers} layers once`;
  }
  const odd = frequencies?.findIndex((layer) => Buffer.from(layer, 'base64').length !== model.neurons) ?? -1;
  if (frequencies && (frequencies.length !== layers || odd >= 0)) {
    return `frequencies are not one byte for each of the ${model.neurons} neurons of ${layers} layers`;
  }
  for (const stop of packStops) {
    const plan = stops[stop];
    const wrong = plan && planContradiction(plan, stop, layers, predictors);
    if (wrong) return `stops.${stop}${wrong}`;
  }
  if ((frontier.length === 0) !== (measured === null)) return 'frontier and measured do not go together';
  if (frontier.length > 0 && frontier[0]!.stop !== 'dense') return 'frontier does not start with dense';
  for (const [i, { stop }] of frontier.entries()) {
    const before = frontier[i - 1];
    if (before && stopNames.indexOf(stop) <= stopNames.indexOf(before.stop))
      return 'frontier is not in the order of the stops';
    // Models with true zeros run at `exact` without a plan of the pack.
    if (stop !== 'dense' && stop !== 'exact' && !stops[stop])
      return `frontier has ${stop}, which is not among the stops`;
  }
  return null;
}

function planContradiction(plan: Plan, stop: PackStop, layers: number, predictors: PackPredictors): string | null {
  if (plan.layers.length !== layers) return ` plans ${plan.layers.length} layers, the model has ${layers}`;
  for (const [i, { mlp, gateThreshold, headThreshold }] of plan.layers.entries()) {
    if (mlp === 'predicted' && !predictors.mlp[i]) return `.layers[${i}] is predicted but has no predictor`;
    if (headThreshold !== null && !predictors.heads[i])
      return `.layers[${i}] skips heads but has no predictor of heads`;
    // `exact` promises dense's text to the bit.
    const changes = (mlp !== 'dense' && mlp !== 'exact') || gateThreshold > 0 || headThreshold !== null;
    if (stop === 'exact' && changes) return `.layers[${i}] is not exact`;
  }
  return stop === 'exact' && plan.vocabulary.bits !== 0 ? '.vocabulary is not exact' : null;
}

/** The rank, source and activation that pack.json gives a predictor. */
export function sameKind(info: PackPredictors['mlp'][number], predictor: LowRankPredictor | null): boolean {
  if (!info || !predictor) return info === null && predictor === null;
  return info.rank === predictor.rank && info.source === predictor.source && info.relu === predictor.relu;
}
