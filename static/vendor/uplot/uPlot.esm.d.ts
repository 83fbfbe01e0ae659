// What our scripts use of uPlot.

declare class uPlot {
  constructor(options: object, columns: uPlot.Column[], root?: Element);
  readonly root: HTMLElement;
  readonly width: number;
  readonly data: uPlot.Column[];
  readonly select: { left: number; width: number };
  setSize(size: { width: number; height: number }): void;
  posToVal(left: number, scale: string): number;
  destroy(): void;
  static tzDate(moment: Date, zone: string): Date;
  static paths: { bars(options: object): object };
}

declare namespace uPlot {
  type Column = (number | null)[];
}

export default uPlot;
