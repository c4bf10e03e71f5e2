import 'katex/dist/katex.min.css';
import './styles/tokens.css';
import './styles/base.css';
import './styles/highlight.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { boot } from './store/boot';

const container = document.getElementById('root');
if (!container) throw new Error('index.html has no #root');

void boot();
createRoot(container).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
