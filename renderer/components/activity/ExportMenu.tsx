import { Download, FolderOpen } from 'lucide-react';
import { DropdownMenu } from 'radix-ui';
import { blockGrid, headGrid, layerGrid, layerPeak, modelGrid, wrapColumns, type Grid } from '../../activity/cells';
import { writeCsv } from '../../activity/csv';
import { FramesFileError, writeFramesFile, writeJson } from '../../activity/framesFile';
import type { Source } from '../../activity/source';
import { maxSvgCells, writeSvg, type Picture } from '../../activity/svg';
import { tokenWords } from '../../activity/words';
import { decodeRecord } from '../../../electron/contract/frames';
import { useThemeName } from '../../lib/useThemeName';
import type { ExportFormat } from '../../store/activityFilesSlice';
import { useStore } from '../../store/store';
import controls from '../controls.module.css';
import { IconButton } from '../IconButton';
import { writePng } from './png';
import { recordBytes } from './useActivity';

const formats: readonly (readonly [format: ExportFormat, name: string])[] = [
  ['png', 'Picture (PNG, 2×)'],
  ['svg', 'Drawing (SVG)'],
  ['csv', 'Table of all layers and tokens (CSV)'],
  ['json', 'Everything, readable (JSON)'],
  ['hunchframes', 'Everything, compact (.hunchframes)'],
];

/** Saves the view or the tokens, and shows what was saved before. */
export function ExportMenu({ source }: { source: Source | null }) {
  const theme = useThemeName();
  const { saveActivity, openActivity } = useStore.getState();
  const name = (source?.provenance?.modelName ?? 'activations').replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 60);
  return (
    <>
      <DropdownMenu.Root>
        <DropdownMenu.Trigger asChild>
          <IconButton small label="Export" disabled={!source || source.track.framed === 0}>
            <Download size={16} aria-hidden />
          </IconButton>
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content className={controls.menu} align="end" sideOffset={4}>
            {formats.map(([format, title]) => (
              <DropdownMenu.Item
                key={format}
                className={controls.menuItem}
                onSelect={() => source && void saveActivity(name, format, () => make(source, format, theme))}
              >
                {title}
              </DropdownMenu.Item>
            ))}
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      <IconButton small label="Import" onClick={() => void openActivity()}>
        <FolderOpen size={16} aria-hidden />
      </IconButton>
    </>
  );
}

async function make(of: Source, format: ExportFormat, theme: 'light' | 'dark'): Promise<Uint8Array> {
  const { token, framesOf, withProvenance } = useStore.getState();
  const source = await withProvenance(of);
  if (format === 'csv') return writeCsv(source);
  if (format === 'json') return writeJson(source, await framesOf(source.id));
  if (format === 'hunchframes') {
    const frames = await framesOf(source.id);
    // The token that is looked at comes with its neurons, where they are known.
    const record = await recordBytes(source, token).catch(() => null);
    return writeFramesFile(source, frames, new Map(record ? [[token, record]] : []));
  }
  const picture = await pictureOf(source, theme);
  if (format === 'png') return writePng(picture);
  if (picture.grid.codes.length > maxSvgCells) {
    throw new FramesFileError('This view has too many cells for a drawing. Export it as a picture.');
  }
  return new TextEncoder().encode(writeSvg(picture));
}

/** What is seen, as a picture; views without a map give the blocks. */
async function pictureOf(source: Source, theme: 'light' | 'dark'): Promise<Picture> {
  const { token, look, spot } = useStore.getState();
  const { track, provenance } = source;
  const frame = track.frame(token);
  if (!frame) throw new FramesFileError('This token has no frame to draw.');
  const text = tokenWords(track.tokens[token]?.text ?? '');
  let what: { grid: Grid; title: string; columnsTitle: string } = {
    grid: blockGrid(frame, look.blockMeasure, track.peak),
    title: `Neurons by layer (${look.blockMeasure})`,
    columnsTitle: `blocks of ${frame.blockSize} neurons`,
  };
  if (look.view === 'heads') {
    const grid = headGrid(frame, look.headMeasure, track.norm);
    what = { grid, title: `Heads by layer (${look.headMeasure})`, columnsTitle: 'attention head' };
  } else if (look.view === 'model' || look.view === 'layer') {
    const bytes = await recordBytes(source, token);
    if (!bytes) throw new FramesFileError('Not every neuron of this token is known.');
    const record = decodeRecord(bytes);
    const columns = wrapColumns(record.neurons, 2);
    const layer = Math.min(spot.layer, record.layers.length - 1);
    what =
      look.view === 'model'
        ? { grid: modelGrid(record, columns), title: 'Every neuron (state)', columnsTitle: `${columns} neurons a line` }
        : {
            grid: layerGrid(record, layer, look.neuronMeasure, columns, layerPeak(record, layer)),
            title: `Layer ${layer} (${look.neuronMeasure})`,
            columnsTitle: `${columns} neurons a line`,
          };
  }
  return {
    grid: what.grid,
    title: `${what.title}, token ${token + 1} “${text}”`,
    rowsTitle: look.view === 'layer' || look.view === 'model' ? 'line' : 'layer',
    columnsTitle: what.columnsTitle,
    caption: [
      source.label,
      ...(provenance
        ? [
            `${provenance.modelName}, sparsity ${provenance.sparsity}, seed ${provenance.seed}, Hunch ${provenance.version}`,
            `model sha256 ${provenance.modelHash}`,
            provenance.edits.length === 0 ? 'no edits' : `edits: ${JSON.stringify(provenance.edits)}`,
          ]
        : ['provenance not known']),
    ],
    theme,
    scale: look.scale,
  };
}
