// What our scripts use of uPlot.

declare class uPlot {
  constructor(options: object, columns: uPlot.Column[], root?: Element);
  readonly root: HTMLElement;
  readonly width: number;
  readonly data: uPlot.Column[];
  readonly select: { left: number; width: number };
  readonly bbox: { left: number; top: number; width: number; height: number };
  readonly ctx: CanvasRenderingContext2D;
  readonly cursor: { idx?: number | null };
  readonly legend: { idx: number | null };
  setLegend(legend: { idx: number | null }): void;
  valToPos(value: number, scale: string, canvasPixels?: boolean): number;
  setSize(size: { width: number; height: number }): void;
  posToVal(left: number, scale: string): number;
  destroy(): void;
  static fmtDate(template: string, names: Record<string, string[]>): (moment: Date) => string;
  static tzDate(moment: Date, zone: string): Date;
  static paths: { bars(options: object): object };
}

declare namespace uPlot {
  type Column = (number | null)[];
}

export default uPlot;
