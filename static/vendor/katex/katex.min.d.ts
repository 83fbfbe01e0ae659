// What our scripts use of KaTeX: importing it puts `katex` on the global object.

export {};

declare global {
  var katex: { render(tex: string, element: Element, options: object): void };
}
