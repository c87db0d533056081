import { defineConfig } from 'vite';

// The page goes into the Python package, which serves it; it loads nothing from elsewhere.
export default defineConfig({
  base: './',
  build: {
    outDir: '../src/histoscout/viewer/page',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
  },
});
