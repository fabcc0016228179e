-- Lets a rollout go on that a person paused.
if obj.metadata.annotations == nil or obj.metadata.annotations["microservice.dev/pause"] == nil then
  error("nobody has paused it; a step that waits is ended by promote", 0)
end
obj.metadata.annotations["microservice.dev/pause"] = nil
return obj
