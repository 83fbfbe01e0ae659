// What our scripts use of marked.

export interface Token {
  type: string;
  raw: string;
  text: string;
  lang?: string;
}

export interface Extension {
  name: string;
  level: "block" | "inline";
  start(source: string): number | undefined;
  tokenizer(source: string): object | undefined;
  renderer(token: any): string;
}

interface Options {
  gfm: boolean;
  breaks: boolean;
  extensions: Extension[];
  renderer: {
    html(token: { text: string }): string;
    image(token: { text: string; href: string }): string;
    checkbox(token: { checked: boolean }): string;
  };
}

export const marked: {
  use(options: Options): void;
  lexer(source: string): Token[];
  parser(tokens: Token[]): string;
};
