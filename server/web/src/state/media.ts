import { onScopeDispose, ref, type Ref } from "vue";

export function useMedia(query: string): Ref<boolean> {
  const media = matchMedia(query);
  const doesMatch = ref(media.matches);
  const update = () => {
    doesMatch.value = media.matches;
  };
  media.addEventListener("change", update);
  onScopeDispose(() => media.removeEventListener("change", update));
  return doesMatch;
}
