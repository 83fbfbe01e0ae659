// What our scripts use of highlight.js.

export type Part = string | { scope?: string; children: Part[] };

declare const hljs: {
  getLanguage(name: string): object | undefined;
  highlight(code: string, options: { language: string; ignoreIllegals: boolean }): { _emitter: { rootNode: { children: Part[] } } };
};
export default hljs;
