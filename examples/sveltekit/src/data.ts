export interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}
